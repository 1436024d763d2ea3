CREATE TABLE mailboxes (address TEXT PRIMARY KEY, mailbox TEXT NOT NULL);
INSERT INTO mailboxes VALUES
	('jack@example.com', 'example.com/jack/Maildir/'),
	('jeff@example.com', 'example.com/jeff/Maildir/'),
	('joe@example.com',  'example.com/joe/Maildir/');
