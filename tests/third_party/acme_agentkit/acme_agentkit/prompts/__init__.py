"""A stranger's prompts."""
