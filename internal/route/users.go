package route

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"postern/internal/table"
)

// tableUsers are the system users of unix:passwd.byname.
type tableUsers struct{ t table.Table }

// TableUsers makes Users of the table unix:passwd.byname of an opener.
func TableUsers(ctx context.Context, o *table.Opener) (Users, error) {
	t, err := o.Open(ctx, "unix:passwd.byname", table.Use{Parameter: "passwd", Fold: true})
	if err != nil {
		return nil, err
	}
	return tableUsers{t}, nil
}

// Lookup reads name:password:uid:gid:gecos:home:shell.
func (u tableUsers) Lookup(ctx context.Context, name string) (User, bool, error) {
	r, err := u.t.Lookup(ctx, name)
	if errors.Is(err, table.ErrNotFound) {
		return User{}, false, nil
	}
	if err != nil {
		return User{}, false, err
	}
	found, err := u.parse(r.Value)
	return found, err == nil, err
}

// LookupID reads all users until one has the number.
func (u tableUsers) LookupID(ctx context.Context, uid int) (User, bool, error) {
	all, ok := table.As[table.Enumerable](u.t)
	if !ok {
		return User{}, false, fmt.Errorf("%s cannot be searched for a user id", u.t.Name())
	}
	for entry, err := range all.All(ctx) {
		if err != nil {
			return User{}, false, err
		}
		if found, err := u.parse(entry.Value); err == nil && found.UID == uid {
			return found, true, nil
		}
	}
	return User{}, false, nil
}

func (u tableUsers) parse(line string) (User, error) {
	f := strings.Split(line, ":")
	if len(f) != 7 {
		return User{}, fmt.Errorf("%s: %q has %d fields", u.t.Name(), f[0], len(f))
	}
	uid, err1 := strconv.Atoi(f[2])
	gid, err2 := strconv.Atoi(f[3])
	if err := errors.Join(err1, err2); err != nil {
		return User{}, fmt.Errorf("%s: %q: %w", u.t.Name(), f[0], err)
	}
	return User{Name: f[0], UID: uid, GID: gid, Home: f[5], Shell: f[6]}, nil
}
