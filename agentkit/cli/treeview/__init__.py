"""Search trees, drawn from the plain data that planners leave: `reading` makes sense of it, `arranging` decides what
stands where, `terminal` and `page` draw it.
"""
