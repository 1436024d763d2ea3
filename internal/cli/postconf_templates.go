package cli

import (
	"errors"

	"postern/internal/bounce"
	"postern/internal/config"
	"postern/internal/server"
)

// templates prints the templates of notifications: expanded texts with -b, whole
// templates as they are written with -t. An argument names another file than
// bounce_template_file, an empty one the built-in templates.
func (c *confTool) templates() error {
	if len(c.args) > 1 {
		return errors.New("options -b and -t require at most one template file")
	}
	settings, err := server.LoadSettings(c.tool.Dir)
	if err != nil {
		return err
	}
	if len(c.args) == 1 {
		settings, err = settings.With([]config.Override{{Name: "bounce_template_file", Value: c.args[0]}})
		if err != nil {
			return err
		}
	}
	t, errs := bounce.BuiltIn(), []error(nil)
	name := settings.String("bounce_template_file")
	if name != "" {
		t, errs = bounce.ReadTemplates(name)
	}
	if c.has('b') {
		expanded, more := t.Expand(settings)
		t, errs = expanded, append(errs, more...)
	}
	for _, err := range errs {
		c.tool.Warn(err.Error())
	}
	if c.has('b') {
		return t.WriteTexts(c.out)
	}
	_, err = t.WriteTo(c.out)
	return err
}
