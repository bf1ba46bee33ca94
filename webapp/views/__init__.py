"""What templates show: one module for each partial, made of records."""
