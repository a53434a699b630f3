"""What several tests share. Imports nothing of penstock, so that acceptance tests may use it."""
