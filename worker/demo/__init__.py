"""The local news site that ``penstock demo`` crawls: invented, made from a seed, and known in every detail."""
