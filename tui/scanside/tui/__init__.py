"""The operator's terminal: Textual over the runtime's store. It computes nothing, and closing it changes nothing."""
