"""The appliance: three processes (receive, work, deliver) around one store; each may be killed at any instant."""
