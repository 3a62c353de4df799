<?php
// tidepool's stand-in for Drush: the same commands, options, output and exit codes. It is not Drush.

namespace Drush;

use Drupal\Core\Installer;
use Drupal\Core\Site\Settings;

/** site:install into the database that settings.php names. */
final class InstallCommand {

  public function __construct(private Bootstrap $bootstrap, private Output $output, private array $options) {}

  public function install(string $profile = 'standard'): void {
    $kernel = $this->bootstrap->kernel(FALSE);
    if (!Settings::database()) {
      // What happens without sites.php: sites/default is used, and there is no database to be found.
      throw new \Error('Call to a member function getInstallTasks() on null');
    }
    $installer = new Installer($kernel);
    if (!$installer->hasProfile($profile)) {
      throw new \Exception("The installation profile $profile could not be found.");
    }
    $this->output->log('warning', "You are about to:\n * DROP all tables in your '" . Settings::database()['database'] . "' database.");
    $this->output->confirm($this->options, 'Do you want to continue?');
    $this->output->log('notice', 'Starting Drupal installation. This takes a while.');
    $name = $this->options['account-name'] ?? 'admin';
    $pass = $this->options['account-pass'] ?? bin2hex(random_bytes(5));
    $installer->install($profile, $this->options['site-name'] ?? 'Drush Site-Install', $this->options['locale'] ?? 'en', [
      'name' => $name,
      'pass' => $pass,
      'mail' => $this->options['account-mail'] ?? 'admin@example.com',
    ]);
    foreach (['install_select_language', 'install_select_profile', 'install_load_profile', 'install_verify_requirements', 'install_install_profile', 'install_configure_form', 'install_finished'] as $task) {
      $this->output->log('notice', "Performed install task: $task");
    }
    $this->output->log('success', 'Installation complete.' . (isset($this->options['account-pass']) ? '' : "  User name: $name  User password: $pass"));
  }

}
