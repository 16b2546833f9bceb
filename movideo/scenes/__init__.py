"""The synthetic world: clips whose depth and flow are known exactly."""
