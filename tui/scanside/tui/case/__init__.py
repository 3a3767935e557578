"""One study: its images with their outlines, what was found and how, and what a person does about it."""
