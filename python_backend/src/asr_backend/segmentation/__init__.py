"""Where long audio is cut into windows, and how their words are joined again."""
