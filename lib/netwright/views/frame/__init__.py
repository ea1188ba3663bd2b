"""What every view stands in: its frame and controls in the browser, its page, and its line to the kernel."""
