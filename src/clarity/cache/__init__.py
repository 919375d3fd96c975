"""What is counted or kept for a while: in the process now, in Redis where there is one."""
