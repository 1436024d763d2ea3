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
	f := strings.Split(r.Value, ":")
	if len(f) != 7 {
		return User{}, false, fmt.Errorf("%s: %q has %d fields", u.t.Name(), name, len(f))
	}
	uid, err1 := strconv.Atoi(f[2])
	gid, err2 := strconv.Atoi(f[3])
	if err := errors.Join(err1, err2); err != nil {
		return User{}, false, fmt.Errorf("%s: %q: %w", u.t.Name(), name, err)
	}
	return User{Name: f[0], UID: uid, GID: gid, Home: f[5], Shell: f[6]}, true, nil
}
