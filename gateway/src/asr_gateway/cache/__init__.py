"""Results that answer equal requests again."""
