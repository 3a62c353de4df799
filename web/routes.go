package web

import (
	"net/http"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"hefring/models"
	"hefring/static"
)

// route is one address, and what it takes to ask for it. The use cases see to that by
// themselves; here it says which buttons a page shows, and keeps forms closed that
// nobody could send.
type route struct {
	method, path string
	handler      func(*server, echo.Context) error
	needs        models.Permission
}

// What routes need beside the permissions of roles.
const (
	open    models.Permission = "" // nothing
	anybody models.Permission = "be signed in"
)

// needed tells what it takes to ask for an address; false when there is no such
// route. It heeds no query.
func (s *server) needed(method, address string) (models.Permission, bool) {
	address, _, _ = strings.Cut(address, "?")
	address, _, _ = strings.Cut(address, "#")
	c := s.router.NewContext(nil, nil)
	s.router.Router().Find(method, address, c)
	p, known := s.needs[method+" "+c.Path()]
	return p, known
}

// may tells whether the person who asks may do what an address does: post there or,
// where nothing can be posted, look.
func (s *server) may(address string) bool {
	p, known := s.needed(http.MethodPost, address)
	if !known {
		return s.sees(address)
	}
	return s.allows(p) == nil
}

// sees tells whether the person who asks may look at an address.
func (s *server) sees(address string) bool {
	p, known := s.needed(http.MethodGet, address)
	return known && s.allows(p) == nil
}

// shared makes a handler of one that needs nobody.
func shared(h echo.HandlerFunc) func(*server, echo.Context) error {
	return func(_ *server, c echo.Context) error { return h(c) }
}

func (s *server) routes() []route {
	return slices.Concat(s.accountRoutes(), s.mainRoutes(), s.lifeRoutes(), s.workRoutes(), s.peopleRoutes(), s.noticeRoutes(), s.auditRoutes())
}

func (s *server) mainRoutes() []route {
	get, post := http.MethodGet, http.MethodPost
	return []route{
		{get, static.Prefix + "*", shared(echo.WrapHandler(static.Handler())), open},
		{post, "/theme", (*server).theme, open},
		{get, docsPath, (*server).apiDocs, anybody},

		{get, "/", (*server).dashboard, models.MaySeeSites},

		{get, "/distributions", (*server).distributions, models.MaySeeFleet},
		{post, "/distributions", (*server).createDistribution, models.MayManageDistributions},
		{get, "/distributions/new", (*server).newDistribution, models.MayManageDistributions},
		{get, "/distributions/:id", (*server).distribution, models.MaySeeFleet},
		{post, "/distributions/:id", (*server).updateDistribution, models.MayManageDistributions},
		{get, "/distributions/:id/edit", (*server).editDistribution, models.MayManageDistributions},
		{get, "/distributions/:id/delete", (*server).askDeleteDistribution, models.MayManageDistributions},
		{post, "/distributions/:id/delete", (*server).deleteDistribution, models.MayManageDistributions},
		{post, "/distributions/:id/check", (*server).checkDistribution, models.MayCheck},
		{post, "/distributions/:id/approve", (*server).approveDistribution, models.MayBuild},
		{post, "/distributions/:id/retry", (*server).retryDistribution, models.MayCheck},
		{get, "/distributions/:id/platforms/new", (*server).newPlatform, models.MayManageDistributions},
		{post, "/distributions/:id/platforms", (*server).registerPlatform, models.MayManageDistributions},

		{get, "/distributions/:id/webhooks", (*server).webhooks, models.MayManageDistributions},
		{post, "/distributions/:id/webhooks", (*server).createWebhook, models.MayManageDistributions},
		{get, "/webhooks/:id", (*server).webhook, models.MayManageDistributions},
		{post, "/webhooks/:id/secret", (*server).rotateWebhook, models.MayManageDistributions},
		{post, "/webhooks/:id/retire", (*server).retireWebhook, models.MayManageDistributions},
		{post, "/webhooks/:id/delete", (*server).deleteWebhook, models.MayManageDistributions},

		{get, "/platforms", (*server).platforms, models.MaySeeFleet},
		{get, "/platforms/:id", (*server).platform, models.MaySeeFleet},
		{post, "/platforms/:id/lock", (*server).lockPlatform, models.MayManagePlatforms},
		{post, "/platforms/:id/unlock", (*server).unlockPlatform, models.MayManagePlatforms},
		{post, "/platforms/:id/verify", (*server).verifyPlatform, models.MayVerifyPlatforms},
		{post, "/platforms/:id/target", (*server).setTarget, models.MayManagePlatforms},
		{post, "/platforms/:id/build", (*server).retryBuild, models.MayBuild},
		{get, "/platforms/:id/upgrade", (*server).planPlatform, models.MaySeeFleet},
		{post, "/platforms/:id/upgrade", (*server).upgradePlatform, models.MayUpgradePlatforms},
		{get, "/platforms/:id/compare", (*server).comparePlatforms, models.MaySeeFleet},
		{get, "/platforms/:id/delete", (*server).askDeletePlatform, models.MayManagePlatforms},
		{post, "/platforms/:id/delete", (*server).deletePlatform, models.MayManagePlatforms},

		{get, "/sites", (*server).sites, models.MaySeeSites},
		{post, "/sites", (*server).createSite, models.MayCreateSites},
		{get, "/sites/new", (*server).newSite, models.MayCreateSites},
		{get, "/sites/:id", (*server).site, models.MaySeeSites},
		{post, "/sites/:id/hold", (*server).holdSite, models.MayOperateSites},
		{post, "/sites/:id/release", (*server).releaseSite, models.MayOperateSites},
		{post, "/sites/:id/install", (*server).retryInstall, models.MayOperateSites},
		{post, "/sites/:id/verify", (*server).verifySite, models.MayOperateSites},
		{get, "/sites/:id/upgrade", (*server).planSite, models.MaySeeSites},
		{post, "/sites/:id/upgrade", (*server).upgradeSite, models.MayUpgrade},
		{post, "/sites/:id/compare", (*server).compareSite, models.MayUpgrade},
	}
}

// lifeRoutes are those of a site's life beside its upgrades, and of where sites
// keep their content.
func (s *server) lifeRoutes() []route {
	get, post := http.MethodGet, http.MethodPost
	return []route{
		{get, "/sites/clone", (*server).newClone, models.MayCreateSites},
		{post, "/sites/clone", (*server).createClone, models.MayCreateSites},
		{get, "/sites/:id/settings", (*server).siteSettings, models.MayConfigureSites},
		{post, "/sites/:id/settings", (*server).configureSite, models.MayConfigureSites},
		{post, "/sites/:id/login", (*server).loginToSite, models.MaySignInToSites},
		{get, "/sites/:id/backup", (*server).askBackup, models.MayBackUp},
		{post, "/sites/:id/backup", (*server).backupSite, models.MayBackUp},
		{post, "/sites/:id/cron", (*server).runCron, models.MayOperateSites},
		{get, "/sites/:id/disable", (*server).askDisable, models.MayConfigureSites},
		{post, "/sites/:id/disable", (*server).disableSite, models.MayConfigureSites},
		{post, "/sites/:id/enable", (*server).enableSite, models.MayConfigureSites},
		{get, "/sites/:id/rollback", (*server).askRollback, models.MaySeeSites},
		{post, "/sites/:id/rollback", (*server).rollbackSite, models.MayUpgrade},
		{get, "/sites/:id/move", (*server).askMove, models.MayRelocateSites},
		{post, "/sites/:id/move", (*server).moveSite, models.MayRelocateSites},
		{get, "/sites/:id/delete", (*server).askDeleteSite, models.MayDeleteSites},
		{post, "/sites/:id/delete", (*server).deleteSite, models.MayDeleteSites},
		{get, "/backups/:id", (*server).backup, models.MaySeeSites},
		{post, "/backups/:id/keep", (*server).keepBackup, models.MayConfigureSites},
		{get, "/backups/:id/restore", (*server).askRestore, models.MayRestore},
		{post, "/backups/:id/restore", (*server).restoreSite, models.MayRestore},
		{get, "/backups/:id/delete", (*server).askDeleteBackup, models.MayConfigureSites},
		{post, "/backups/:id/delete", (*server).deleteBackup, models.MayConfigureSites},
		{get, "/import", (*server).importForm, models.MayCreateSites},
		{post, "/import", (*server).findSites, models.MayCreateSites},

		{get, "/databases", (*server).databases, models.MaySeeFleet},
		{post, "/databases", (*server).createDatabase, models.MayManageServers},
		{get, "/databases/new", (*server).newDatabase, models.MayManageServers},
		{get, "/databases/:id", (*server).editDatabase, models.MayManageServers},
		{post, "/databases/:id", (*server).updateDatabase, models.MayManageServers},
		{post, "/databases/:id/test", (*server).testDatabase, models.MayManageServers},
		{get, "/databases/:id/delete", (*server).askDeleteDatabase, models.MayManageServers},
		{post, "/databases/:id/delete", (*server).deleteDatabase, models.MayManageServers},

		{get, "/servers", (*server).webServers, models.MaySeeFleet},
		{post, "/servers", (*server).addWebServer, models.MayManageServers},
		{get, "/servers/new", (*server).newWebServer, models.MayManageServers},
		{get, "/servers/:name", (*server).webServer, models.MaySeeFleet},
		{post, "/servers/:name/invite", (*server).inviteWebServer, models.MayManageServers},
		{get, "/servers/:name/remove", (*server).askRemoveWebServer, models.MayManageServers},
		{post, "/servers/:name/remove", (*server).removeWebServer, models.MayManageServers},
	}
}

// workRoutes are those of tasks and queues.
func (s *server) workRoutes() []route {
	get, post := http.MethodGet, http.MethodPost
	return []route{
		{get, "/tasks", (*server).tasks, models.MaySeeSites},
		{get, "/tasks/:id", (*server).task, models.MaySeeSites},
		{get, "/tasks/:id/log", (*server).taskLog, models.MaySeeSites},
		{get, "/tasks/:id/stream", (*server).stream, models.MaySeeSites},
		{post, "/tasks/:id/cancel", (*server).cancelTask, models.MayCancelTasks},
		{post, "/tasks/:id/retry", (*server).retryTask, models.MayCancelTasks},

		{get, "/queues", (*server).queues, models.MaySeeFleet},
		{post, "/queues/hosts", (*server).saveHost, models.MayChangeSettings},
		{post, "/queues/:type", (*server).saveQueue, models.MayChangeSettings},
		{post, "/queues/:type/run", (*server).runQueue, models.MayRunQueues},
		{post, "/queues/:type/pause", (*server).pauseQueue, models.MayRunQueues},
		{post, "/queues/:type/resume", (*server).resumeQueue, models.MayRunQueues},
	}
}
