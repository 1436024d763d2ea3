package server

import (
	"bufio"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"postern/internal/config"
	"postern/internal/deliver/pipe"
	"postern/internal/helper"
	"postern/internal/privsep"
	"postern/internal/syntax"
	"postern/internal/table"
)

// policyOf makes what the helper does for the server, of main.cf and master.cf
// alone.
func policyOf(dir string, users helper.Users) (*helper.Policy, error) {
	v, err := LoadSettings(dir)
	if err != nil {
		return nil, err
	}
	owner, err := mailOwner(v)
	if err != nil {
		return nil, err
	}
	p := &helper.Policy{
		Owner: owner, Log: v.String("maillog_file"), Users: users,
		Listeners: map[string]bool{}, Virtual: map[string]int{}, Trusted: map[int]bool{}, Pipes: map[int][]string{},
		Files: map[string]bool{filepath.Join(v.Dir(), "main.cf"): true, filepath.Join(v.Dir(), "master.cf"): true},
	}
	if gid, err := privsep.LookupGroup(v.String("setgid_group")); err == nil {
		p.Groups = append(p.Groups, gid)
	}
	p.Listeners["unix "+ControlSocket(v)] = true
	own := HostAddresses()
	addPlaces(p, v)
	for _, m := range v.Services() {
		settings, err := v.ForService(m)
		if err != nil {
			return nil, fmt.Errorf("%v: %w", m.At, err)
		}
		if err := addService(p, settings, m, own); err != nil {
			return nil, fmt.Errorf("%v: %w", m.At, err)
		}
	}
	return p, nil
}

// addService adds what one service of master.cf needs.
func addService(p *helper.Policy, v *config.Settings, m config.Service, own []netip.Addr) error {
	addPlaces(p, v)
	switch {
	case m.Command == "smtpd" && m.Type == "inet":
		address, err := listenAddress(m.Name)
		if err != nil {
			return err
		}
		list, err := endpoints(v, address, own)
		if err != nil {
			return err
		}
		for _, a := range list {
			p.Listeners[inetNetwork(v)+" "+a] = true
		}
	case m.Command == "local":
		addLocal(p, v)
	case m.Command == "pipe":
		addPipe(p, v, m)
	}
	return nil
}

// addPlaces adds directories of mailboxes and names of files.
func addPlaces(p *helper.Policy, v *config.Settings) {
	if base := v.String("virtual_mailbox_base"); filepath.IsAbs(base) && filepath.Clean(base) != "/" {
		base, minimum := filepath.Clean(base), v.Int("virtual_minimum_uid")
		if other, ok := p.Virtual[base]; ok {
			minimum = min(minimum, other)
		}
		p.Virtual[base] = minimum
	}
	for _, value := range v.All() {
		addFiles(p.Files, v.Dir(), value.Text)
	}
}

// indexes are what the file names of indexed tables end in.
var indexes = [...]string{"", ".db", ".lmdb", ".cdb"}

// addFiles adds the names of files in the value of a parameter: "/name",
// "type:/name", "type:name" below the configuration directory, "attribute=/name".
func addFiles(files map[string]bool, dir, text string) {
	for _, word := range syntax.Split(strings.NewReplacer("{", " ", "}", " ").Replace(text), syntax.Separators) {
		word = strings.TrimPrefix(table.Direct(strings.TrimLeft(word, "!")), "debug:")
		if i := strings.IndexAny(word, ":="); i >= 0 && !strings.HasPrefix(word, "/") {
			kind, name := word[:i], word[i+1:]
			if word[i] == ':' && name != "" && !filepath.IsAbs(name) && !strings.ContainsAny(name, ":$@[") {
				name = filepath.Join(dir, name)
			}
			word = name
			if withFile[kind] {
				addNamed(files, word)
			}
		}
		if !filepath.IsAbs(word) || len(word) == 1 {
			continue
		}
		for _, suffix := range indexes {
			files[filepath.Clean(word)+suffix] = true
		}
	}
}

// withFile are the table types whose name is a file of parameters.
var withFile = map[string]bool{"mysql": true, "pgsql": true, "ldap": true, "memcache": true}

// addNamed adds the files that a file of parameters names: keys and certificates
// for the connection.
func addNamed(files map[string]bool, name string) {
	f, err := os.Open(name)
	if err != nil {
		return // whoever opens the table says so
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if _, value, ok := strings.Cut(s.Text(), "="); ok {
			if value = strings.TrimSpace(value); filepath.IsAbs(value) {
				files[filepath.Clean(value)] = true
			}
		}
	}
}

// addLocal adds what local(8) does as system users.
func addLocal(p *helper.Policy, v *config.Settings) {
	if dir := v.String("mail_spool_directory"); filepath.IsAbs(dir) {
		p.SpoolDirs = append(p.SpoolDirs, filepath.Clean(dir))
	}
	if name := v.String("home_mailbox"); name != "" {
		p.HomeMailbox = append(p.HomeMailbox, name)
	}
	p.MailboxCommand = p.MailboxCommand || v.Raw("mailbox_command") != "" || v.String("mailbox_command_maps") != ""
	for _, path := range syntax.Split(v.Raw("forward_path"), syntax.Separators) {
		p.Forward = append(p.Forward, forwardStart(path))
	}
	if id, err := privsep.LookupUser(v.String("default_privs")); err == nil {
		p.Trusted[id.UID] = true
	}
	for _, spec := range append(v.List("alias_maps"), v.List("alias_database")...) {
		_, name, ok := strings.Cut(table.Direct(spec), ":")
		var st unix.Stat_t
		if ok && unix.Stat(name, &st) == nil && st.Uid > 0 {
			p.Trusted[int(st.Uid)] = true
		}
	}
	delete(p.Trusted, p.Owner.UID)
}

// forwardStart is the part of a path of forward_path that does not depend on the
// address: "$home/.forward" of "$home/.forward${recipient_delimiter}${extension}".
func forwardStart(path string) string {
	for _, variable := range [...]string{"home", "user"} {
		for _, form := range [...]string{"${" + variable + "}", "$(" + variable + ")"} {
			path = strings.ReplaceAll(path, form, "$"+variable)
		}
	}
	for at := 0; ; {
		i := strings.IndexByte(path[at:], '$')
		if i < 0 {
			return path
		}
		rest := path[at+i:]
		if !strings.HasPrefix(rest, "$home") && !strings.HasPrefix(rest, "$user") {
			return path[:at+i]
		}
		at += i + len("$home")
	}
}

// addPipe adds the program of a pipe(8) service for its user. One whose
// attributes are wrong is not run by anybody.
func addPipe(p *helper.Policy, v *config.Settings, m config.Service) {
	a, err := pipe.Parse(m.Args)
	if err != nil || len(a.Argv) == 0 {
		return
	}
	if id, err := pipeIdentity(a.User, a.Group, v.String("mail_owner"), v.String("setgid_group")); err == nil {
		p.Pipes[id.UID] = append(p.Pipes[id.UID], a.Argv[0])
	}
}
