"""The network `max` of imagine_deblur, which finds it beside this file."""
