"""Files the package ships: the settings file and the policy profiles.

Charter: data only. ``effects.profiles`` reads it through importlib.resources.
"""
