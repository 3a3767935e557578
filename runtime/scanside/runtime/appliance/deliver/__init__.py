"""The sender: objects of the outbox to their destinations, and answers to storage commitment. A process of its own."""
