"""The sender: objects of the outbox to their destinations, and the answers to storage commitment. A process of its own."""
