package spool

// OS is the real file system, as Options.FS means it when it is nil.
func OS() FS { return osFS{} }
