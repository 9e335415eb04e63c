//! Decisions of the agent.
