"""How the appliance is: machine, queue, times, disk, peers, log."""
