"""The forward model: blur, noise, rounding and compression of a sharp scene.

Training, tests, benchmarks and calibration make captures here; nothing here undoes one.
"""
