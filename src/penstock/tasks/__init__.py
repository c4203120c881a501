"""Ready-made tasks, one file or folder each. They are found by name; nothing imports them."""
