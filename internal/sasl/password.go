package sasl

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"postern/internal/address"
	"postern/internal/table"
)

// Passwords are smtp_sasl_password_maps.
type Passwords struct {
	Maps      *table.Maps
	BySender  bool // smtp_sender_dependent_authentication
	Delimiter address.Delimiter
}

// Lookup returns the user and password for a message of sender, in internal form ("" for the null
// sender, which has none of its own) to a host. nextHop is the destination as it
// is written. ok is false when there is no entry: then nobody authenticates. A
// value without a colon is a user without a password, of use with EXTERNAL only.
// Errors are those of tables, and of an entry without a user.
func (p *Passwords) Lookup(ctx context.Context, sender, nextHop, host string) (user, password string, ok bool, err error) {
	found, err := p.find(ctx, sender, nextHop, host)
	if errors.Is(err, table.ErrNotFound) {
		return "", "", false, nil
	}
	if err != nil {
		return "", "", false, err
	}
	user, password, _ = strings.Cut(found.Value, ":")
	if user == "" && password != "" {
		// Not the name of the table: that of an inline: table holds passwords.
		return "", "", false, fmt.Errorf("%s, entry %q: no user in front of the colon", p.Maps.Parameter, found.Key.Text)
	}
	return user, password, true, nil
}

func (p *Passwords) find(ctx context.Context, sender, nextHop, host string) (table.Found, error) {
	if p.BySender && sender != "" {
		keys := table.AddressKeys(address.Split(sender), p.Delimiter, nil, table.ExternalFirst)
		if found, err := p.Maps.Find(ctx, keys, nil); !errors.Is(err, table.ErrNotFound) {
			return found, err
		}
	}
	for _, key := range []string{host, nextHop} {
		if found, err := p.Maps.Find(ctx, table.OnlyKey(key), nil); !errors.Is(err, table.ErrNotFound) {
			return found, err
		}
	}
	return table.Found{}, table.ErrNotFound
}
