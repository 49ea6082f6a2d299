"""The environment, and the deployments of the site, with the checklists before and after."""
