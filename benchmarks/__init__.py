"""Every speed the README claims, each beside the limit or the peer measured in the same run."""
