"""The images of a calibration, and what a network makes of them."""
