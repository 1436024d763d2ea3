package server

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"postern/internal/config"
	"postern/internal/deliver/pipe"
	"postern/internal/helper"
	"postern/internal/privsep"
	"postern/internal/setup"
	"postern/internal/syntax"
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
		Listeners: map[string]bool{}, Virtual: map[string]int{}, Trusted: map[int]bool{}, VirtualGIDs: helper.Numbers{Known: map[int]bool{}},
		MailToCommands: map[string]bool{}, MailToFiles: map[string]bool{}, Environment: map[string]bool{},
		WorkDirs: map[string]bool{}, Directories: map[string]bool{},
		Files: map[string]bool{filepath.Join(v.Dir(), "main.cf"): true, filepath.Join(v.Dir(), "master.cf"): true},
	}
	if gid, err := privsep.LookupGroup(v.String("setgid_group")); err == nil {
		p.Groups = append(p.Groups, gid)
	}
	addFiles(p, v.Dir(), v.Value("myorigin").Raw) // its text is what is in the file
	p.Listeners["unix "+ControlSocket(v)] = true
	own := setup.HostAddresses()
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
		addGroups(p, v)
	}
	for _, value := range v.All() {
		addFiles(p, v.Dir(), value.Text)
	}
	addAuthorities(p, v)
}

// addGroups adds the groups of virtual_gid_maps.
func addGroups(p *helper.Policy, v *config.Settings) {
	files, others := textsOf(v, "virtual_gid_maps")
	for _, name := range files {
		if !slices.Contains(p.VirtualGIDs.Files, name) {
			p.VirtualGIDs.Files = append(p.VirtualGIDs.Files, name)
		}
	}
	for _, spec := range others {
		value, static := strings.CutPrefix(spec, "static:")
		number, ok := helper.Number(value)
		if static && ok {
			p.VirtualGIDs.Known[number] = true
		} else {
			p.VirtualGIDs.Any = true
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
	for _, path := range syntax.Split(v.Raw("forward_path"), syntax.Separators) {
		p.Forward = append(p.Forward, forwardStart(path))
	}
	for _, word := range v.List("allow_mail_to_commands") {
		p.MailToCommands[strings.ToLower(word)] = true
	}
	for _, word := range v.List("allow_mail_to_files") {
		p.MailToFiles[strings.ToLower(word)] = true
	}
	addAliases(p, v)
	addCommands(p, v)
	addSurroundings(p, v)
}

// addAliases adds the lists of aliases. A table that is no text gives away all
// rights of default_privs, or of its owner.
func addAliases(p *helper.Policy, v *config.Settings) {
	p.Default = privsep.Identity{}
	if id, err := privsep.LookupUser(v.String("default_privs")); err == nil {
		p.Default = privsep.Identity{UID: id.UID, GID: id.GID}
	}
	files, others := textsOf(v, "alias_maps")
	p.Aliases = append(p.Aliases, files...)
	for _, spec := range others {
		uid := p.Default.UID
		var st unix.Stat_t
		if _, name, ok := strings.Cut(spec, ":"); ok && unix.Stat(absolute(v.Dir(), name), &st) == nil && st.Uid > 0 {
			uid = int(st.Uid)
		}
		p.Trusted[uid] = uid > 0 && uid != p.Owner.UID
	}
}

// addCommands adds the commands of mailboxes.
func addCommands(p *helper.Policy, v *config.Settings) {
	if line := v.Raw("mailbox_command"); line != "" {
		p.MailboxCommands = append(p.MailboxCommands, line)
	}
	files, others := textsOf(v, "mailbox_command_maps")
	p.CommandMaps = append(p.CommandMaps, files...)
	p.AnyCommand = p.AnyCommand || len(others) > 0
	p.Shells = append(p.Shells, v.String("local_command_shell"))
}

// addSurroundings adds where commands run, and the environment that they get.
func addSurroundings(p *helper.Policy, v *config.Settings) {
	p.Filters = append(p.Filters, v.String("command_expansion_filter"))
	p.WorkDirs[v.String("queue_directory")] = true
	for _, entry := range environment(v) {
		p.Environment[entry] = true
	}
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
		addSurroundings(p, v)
		if a.Directory != "" {
			p.WorkDirs[a.Directory] = true
		}
		p.Pipes = append(p.Pipes, helper.Pipe{UID: id.UID, GID: id.GID, Fits: a.Fits})
	}
}
