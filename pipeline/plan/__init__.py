"""What a job costs, before anything runs: one scene from its header, many from rates that were measured."""

from pipeline.plan.calibrate import calibrate
from pipeline.plan.campaign import Campaign, plan_campaign
from pipeline.plan.model import ScenePlan, StagePlan
from pipeline.plan.rates import Rates, default_rates, rates_of_receipt
from pipeline.plan.scene import plan_scene

__all__ = [
    "Campaign",
    "Rates",
    "ScenePlan",
    "StagePlan",
    "calibrate",
    "default_rates",
    "plan_campaign",
    "plan_scene",
    "rates_of_receipt",
]
