"""What goes out of the practice on paper."""
