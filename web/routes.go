package web

import (
	"net/http"
	"slices"

	"github.com/labstack/echo/v4"

	"hefring/static"
)

// route is one address. What is not public needs a person who is signed in.
type route struct {
	method, path string
	handler      echo.HandlerFunc
	public       bool
}

func (s *server) routes() []route {
	return slices.Concat(s.mainRoutes(), s.lifeRoutes(), s.workRoutes())
}

func (s *server) mainRoutes() []route {
	get, post := http.MethodGet, http.MethodPost
	return []route{
		{get, static.Prefix + "*", echo.WrapHandler(static.Handler()), true},
		{get, "/healthz", healthz, true},
		{get, "/login", s.loginPage, true},
		{post, "/login", s.login, true},
		{get, "/login/link/:token", s.loginLinkPage, true},
		{post, "/login/link/:token", s.loginLink, true},
		{post, "/theme", s.theme, true},
		{post, "/logout", s.logout, false},

		{get, "/", s.dashboard, false},

		{get, "/distributions", s.distributions, false},
		{post, "/distributions", s.createDistribution, false},
		{get, "/distributions/new", s.newDistribution, false},
		{get, "/distributions/:id", s.distribution, false},
		{post, "/distributions/:id", s.updateDistribution, false},
		{get, "/distributions/:id/edit", s.editDistribution, false},
		{post, "/distributions/:id/check", s.checkDistribution, false},
		{post, "/distributions/:id/approve", s.approveDistribution, false},
		{post, "/distributions/:id/retry", s.retryDistribution, false},
		{get, "/distributions/:id/platforms/new", s.newPlatform, false},
		{post, "/distributions/:id/platforms", s.registerPlatform, false},

		{get, "/distributions/:id/webhooks", s.webhooks, false},
		{post, "/distributions/:id/webhooks", s.createWebhook, false},
		{get, "/webhooks/:id", s.webhook, false},
		{post, "/webhooks/:id/secret", s.rotateWebhook, false},
		{post, "/webhooks/:id/retire", s.retireWebhook, false},
		{post, "/webhooks/:id/delete", s.deleteWebhook, false},

		{get, "/platforms", s.platforms, false},
		{get, "/platforms/:id", s.platform, false},
		{post, "/platforms/:id/lock", s.lockPlatform, false},
		{post, "/platforms/:id/unlock", s.unlockPlatform, false},
		{post, "/platforms/:id/verify", s.verifyPlatform, false},
		{post, "/platforms/:id/target", s.setTarget, false},
		{post, "/platforms/:id/build", s.retryBuild, false},
		{get, "/platforms/:id/upgrade", s.planPlatform, false},
		{post, "/platforms/:id/upgrade", s.upgradePlatform, false},
		{get, "/platforms/:id/compare", s.comparePlatforms, false},
		{get, "/platforms/:id/delete", s.askDeletePlatform, false},
		{post, "/platforms/:id/delete", s.deletePlatform, false},

		{get, "/sites", s.sites, false},
		{post, "/sites", s.createSite, false},
		{get, "/sites/new", s.newSite, false},
		{get, "/sites/:id", s.site, false},
		{post, "/sites/:id/hold", s.holdSite, false},
		{post, "/sites/:id/release", s.releaseSite, false},
		{post, "/sites/:id/install", s.retryInstall, false},
		{post, "/sites/:id/verify", s.verifySite, false},
		{get, "/sites/:id/upgrade", s.planSite, false},
		{post, "/sites/:id/upgrade", s.upgradeSite, false},
		{post, "/sites/:id/compare", s.compareSite, false},
	}
}

// lifeRoutes are those of a site's life beside its upgrades, and of where sites
// keep their content.
func (s *server) lifeRoutes() []route {
	get, post := http.MethodGet, http.MethodPost
	return []route{
		{get, "/sites/clone", s.newClone, false},
		{post, "/sites/clone", s.createClone, false},
		{get, "/sites/:id/settings", s.siteSettings, false},
		{post, "/sites/:id/settings", s.configureSite, false},
		{post, "/sites/:id/login", s.loginToSite, false},
		{get, "/sites/:id/backup", s.askBackup, false},
		{post, "/sites/:id/backup", s.backupSite, false},
		{post, "/sites/:id/cron", s.runCron, false},
		{get, "/sites/:id/disable", s.askDisable, false},
		{post, "/sites/:id/disable", s.disableSite, false},
		{post, "/sites/:id/enable", s.enableSite, false},
		{get, "/sites/:id/rollback", s.askRollback, false},
		{post, "/sites/:id/rollback", s.rollbackSite, false},
		{get, "/sites/:id/delete", s.askDeleteSite, false},
		{post, "/sites/:id/delete", s.deleteSite, false},
		{get, "/backups/:id", s.backup, false},
		{post, "/backups/:id/keep", s.keepBackup, false},
		{get, "/backups/:id/restore", s.askRestore, false},
		{post, "/backups/:id/restore", s.restoreSite, false},
		{get, "/backups/:id/delete", s.askDeleteBackup, false},
		{post, "/backups/:id/delete", s.deleteBackup, false},
		{get, "/import", s.importForm, false},
		{post, "/import", s.findSites, false},

		{get, "/databases", s.databases, false},
		{post, "/databases", s.createDatabase, false},
		{get, "/databases/new", s.newDatabase, false},
		{get, "/databases/:id", s.editDatabase, false},
		{post, "/databases/:id", s.updateDatabase, false},
		{post, "/databases/:id/test", s.testDatabase, false},
		{get, "/databases/:id/delete", s.askDeleteDatabase, false},
		{post, "/databases/:id/delete", s.deleteDatabase, false},
	}
}

// workRoutes are those of tasks and queues.
func (s *server) workRoutes() []route {
	get, post := http.MethodGet, http.MethodPost
	return []route{
		{get, "/tasks", s.tasks, false},
		{get, "/tasks/:id", s.task, false},
		{get, "/tasks/:id/log", s.taskLog, false},
		{get, "/tasks/:id/stream", s.stream, false},
		{post, "/tasks/:id/cancel", s.cancelTask, false},
		{post, "/tasks/:id/retry", s.retryTask, false},

		{get, "/queues", s.queues, false},
		{post, "/queues/hosts", s.saveHost, false},
		{post, "/queues/:type", s.saveQueue, false},
		{post, "/queues/:type/run", s.runQueue, false},
		{post, "/queues/:type/pause", s.pauseQueue, false},
		{post, "/queues/:type/resume", s.resumeQueue, false},
	}
}
