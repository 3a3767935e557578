"""The operator's terminal, over the runtime's store and events. Nothing here yet."""
