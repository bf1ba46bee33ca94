"""What any process of this package needs to know of itself: its claim, its clock, its disk, its log."""
