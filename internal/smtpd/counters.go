package smtpd

import "strconv"

// counters count the commands of a session by their place in the command table;
// the last place is that of unknown commands.
type counters struct {
	total, good [len(commandNames) + 1]int
}

// commandNames are the commands in the order of the "disconnect from" line.
var commandNames = [...]string{
	"helo", "ehlo", "xclient", "xforward", "starttls", "auth", "mail", "rcpt", "data", "bdat",
	"rset", "noop", "vrfy", "etrn", "help", "quit",
}

// String is the end of the "disconnect from" line: " ehlo=1 rcpt=4/7
// commands=5/8", successes and, where it differs, the total.
func (c *counters) String() string {
	var buf []byte
	goodSum, sum := 0, 0
	for i, total := range c.total {
		if total == 0 {
			continue
		}
		name := "unknown"
		if i < len(commandNames) {
			name = commandNames[i]
		}
		buf = appendCount(buf, name, c.good[i], total)
		goodSum += c.good[i]
		sum += total
	}
	if sum == 0 {
		return " commands=0/0"
	}
	return string(appendCount(buf, "commands", goodSum, sum))
}

func appendCount(buf []byte, name string, n, total int) []byte {
	buf = append(buf, ' ')
	buf = append(buf, name...)
	buf = append(buf, '=')
	buf = strconv.AppendInt(buf, int64(n), 10)
	if n != total {
		buf = append(buf, '/')
		buf = strconv.AppendInt(buf, int64(total), 10)
	}
	return buf
}
