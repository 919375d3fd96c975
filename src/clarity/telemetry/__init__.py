"""What those who run the service see of it: figures and traces, in which nothing stands of anybody."""
