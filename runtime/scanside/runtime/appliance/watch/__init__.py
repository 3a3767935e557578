"""What tells people and monitoring how the appliance does: log, metrics, health. Nothing here changes the store."""
