"""Pushes of carriers and tracking services that sign what they send with HMAC-SHA256."""
