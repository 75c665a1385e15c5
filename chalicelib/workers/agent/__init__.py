"""Works `agent` tasks: a model is asked, its tool calls are run, until it answers or a limit is met."""
