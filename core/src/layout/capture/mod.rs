//! A document out of what is on the disks of a machine, for others to use.
