"""Closed code words that stand in the open part of facts and are shared by more than one service."""

from typing import Literal

RiskGrade = Literal["standard", "medium", "high"]
LevelOfNeed = Literal["blue", "green", "amber", "red"]
ReferralType = Literal["domestic_abuse", "child", "missing", "adult"]
SubjectKind = Literal["child", "unborn", "adult"]
AgeBand = Literal["unborn", "under_1", "1_4", "5_10", "11_15", "16_17", "18_64", "65_plus", "unknown"]
Authority = Literal["884", "885", "893", "894"]
"""Local authorities by DfE code: Herefordshire, Worcestershire, Shropshire, Telford and Wrekin."""
Agency = Literal["childrens_services", "adult_services"]
ClockName = Literal["assessment", "share"]
CalendarName = Literal["round_the_clock", "hub_hours"]

AUTHORITY_NAMES: dict[Authority, str] = {
    "884": "Herefordshire",
    "885": "Worcestershire",
    "893": "Shropshire",
    "894": "Telford and Wrekin",
}
