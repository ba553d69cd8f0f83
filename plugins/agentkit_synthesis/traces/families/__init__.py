"""The families of problems: each module makes problems with solutions, and knows nothing of styles, files or verifiers."""
