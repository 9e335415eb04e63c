//! Being a good citizen of the operating system.
