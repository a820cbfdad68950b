"""What carriers say, in normal form: a small engine over tables. The door is fulfillment.carriers.api."""
