package drupal

import (
	"context"
	"time"
)

// cronTime is how long a site's periodic work may take.
const cronTime = 30 * time.Minute

// Cron runs the site's periodic work.
func (d *Drush) Cron(ctx context.Context) error {
	c := call{command: "core:cron", limit: cronTime, out: d.out, err: d.err}
	_, err := d.run(ctx, c)
	return err
}
