"""What every room needs and no room owns: the process's set-up, the device and its precision. It knows no embedding."""
