"""The tables, a module or two functions each: `journal` finds every module here by its LAYOUTS."""
