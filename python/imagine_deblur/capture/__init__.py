"""What a capture tells about itself: its spectrum, noise, compression and blur.

Nothing here changes a picture; `restoration` does.
"""
