"""What every room needs and no room owns: files, memory of the process, provenance, colour.

Nothing here knows of captures, blurs or networks.
"""
